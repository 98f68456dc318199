"""Hostile input against the real parts: addresses, paths, messages. Nothing may be reached, read or lost.

watch      what must never be connected to, and a count of who connected all the same
dns        a small name server that answers as an attacker's would: another address each time
addresses  the corpus of URLs and of redirects
urls       the corpus against the real Fetcher, on real sockets
paths      files, links, devices and buckets outside of what is allowed, also swapped while they are read
messages   mutated messages through a real broker
"""
