"""Azure on this host: ARM, tokens, blob storage and the metadata service, as far as the driver needs them."""

from rehearsal.azure.frontend import Azure

FRONT_END = Azure
