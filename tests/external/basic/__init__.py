"""What every machine must do, whatever it is used for: the first suite to run on a new image.

The machine boots to its end without a failed unit, is provisioned exactly once and exactly as its Ignition config says,
lets in who may come in and nobody else, keeps its state over a reboot, and logs all that from the first line on. Every
other suite builds on this. Nothing here needs the internet, and most tests share one machine.
"""
