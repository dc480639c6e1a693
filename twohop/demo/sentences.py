"""What the demo embeds: a help centre's answers, and questions that share few words with the right one."""

HELP_CENTRE = [
    "You can get your money back within thirty days of buying.",
    "Parcels usually arrive two to four days after they leave our warehouse.",
    "To choose a new password, follow the link that we send to your e-mail address.",
    "Our support team answers from nine to five on weekdays.",
    "You may cancel the subscription at any time; it then ends with the current month.",
    "We accept credit cards, bank transfer and gift vouchers.",
    "The battery lasts about eleven hours when you only read.",
    "Your data is stored in Frankfurt and deleted when you close the account.",
    "Students pay half the price; show us a valid card of your school.",
    "The app works without a network, and catches up when it is back.",
]

QUESTIONS = {
    "How do I return something I don't like?": "money back",
    "I forgot how to log in": "password",
    "Is there a discount for universities?": "Students",
}
"""Each with words of the page that answers it."""
