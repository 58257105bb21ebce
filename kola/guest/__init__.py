"""What kola puts onto a guest: plain files, read as package data by ``kola.provision``."""
