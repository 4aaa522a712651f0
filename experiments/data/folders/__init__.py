"""Your own files as data sets: ROOT/{train,test}/CLASS/FILE."""
