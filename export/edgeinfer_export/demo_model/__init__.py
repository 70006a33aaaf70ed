"""How the detector, the pictures and the video of `edgeinfer demo` are made.

`python -m edgeinfer_export.demo_model --out DIR` draws conveyor-belt scenes with scikit-learn's
handwritten digits, trains a small detector on them and writes everything the demo ships. It needs
torch and scikit-learn (the extra `demo-training`); nothing else in the project imports it.

    digits     the 1797 real digits, split into training and held-out ones
    items      one digit on a parcel, label, plate or tile
    clutter    what lies about without being a digit
    belt       belt, rails, light, motion blur, noise
    scene      items on the belt: one picture and its boxes
    letterbox  the preprocessing rule
    network    the detector
    assign     which grid cells answer for which digit
    train      loss and training loop
    onnx_file  the trained detector as an ONNX file
    pictures   calibration pictures and validation set
    video      the video and the truth about it
    readme     the text beside the data
    build      everything, in order
"""
