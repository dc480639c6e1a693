"""The worker: runs one model for requests that hop 1 signed, behind any host's front.

http, queue   the fronts: a port, or RunPod's queue
jobs          one job, from its signed body to its result
batching      what is computed together
engine.py     the port that they all know of a model
engines       what runs models: by task, and by way of running
owner         the owner's own code around a model, or in its place
hardware      what a model needs, what the machine has, what is chosen
usage         what the work took: time, memory, its part of the bill
"""
