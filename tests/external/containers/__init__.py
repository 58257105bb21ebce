"""Containers: podman for root and for an ordinary user, quadlets, updates of images; Docker and Swarm where they are.

The tests of Docker and Swarm (`test_docker.py`, `test_swarm.py`) are written, but have not been run on any machine yet.

The images are made on the machine, of its own programs; nothing is pulled from the internet.
"""
