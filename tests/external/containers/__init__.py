"""Containers: podman for root and for an ordinary user, quadlets, updates of images; Docker and Swarm where they are.

The images are made on the machine, of its own programs; nothing is pulled from the internet.
"""
