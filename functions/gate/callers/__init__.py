"""Who is asking: Firebase ID tokens, App Check, and the sign-in of dev mode."""
