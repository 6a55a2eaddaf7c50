"""Hashes of known texts (`_editions.py`), with the verdict of a trial on each: state, what was adopted, variant."""

KNOWN: dict[str, tuple[str, str, int]] = {
    "3a2c871ace9c28955341": ("replaced", "", 0),  # AdaGrad
    "6ba0a9c2a3b6c5ae286e": ("replaced", "", 0),  # Adam
    "27563f26b19187f9c80e": ("replaced", "", 0),  # Affine
    "555ae24ed73da9cadcdb": ("replaced", "", 0),  # Affine
    "90c451cf0b396f949490": ("replaced", "", 1),  # Affine
    "0d1a6c792c37da3e308e": ("replaced", "", 0),  # BatchNormalization
    "be67b71524db5afc865f": ("replaced", "", 0),  # BatchNormalization
    "bb96c9f6269759d40885": ("replaced", "", 0),  # Convolution
    "3de0aa7cbe25fd88d4cb": ("replaced", "", 0),  # Dropout
    "9087ba4fff7704a46a6e": ("replaced", "", 0),  # Momentum
    "3e0f0716ed0aad699ffd": ("replaced", "", 0),  # Nesterov
    "296866230d316b808957": ("replaced", "", 0),  # Pooling
    "e5b4d71eec053fd488c1": ("adopted", "stride=1", 0),  # Pooling
    "b7dfea8bb1924abb5465": ("replaced", "", 0),  # RMSprop
    "aca88db11bcbe62e4209": ("replaced", "", 0),  # Relu
    "d1798ed61fc6e6027b6a": ("replaced", "", 0),  # Relu
    "155796dbbc14991b8663": ("replaced", "", 0),  # SGD
    "ebacb833684c071d2c9e": ("replaced", "", 0),  # SGD
    "1fadacd3d1c46f97ecb3": ("replaced", "", 0),  # Sigmoid
    "845c0663a743f418bf39": ("replaced", "", 0),  # Sigmoid
    "d9533a7c81bc1a5537bd": ("replaced", "", 0),  # Sigmoid
    "59bd9fa3674e3c564c91": ("replaced", "", 0),  # SoftmaxWithLoss
    "991ac0d2d4556796a870": ("replaced", "", 0),  # SoftmaxWithLoss
    "cae38dd0cf4e38dd8fea": ("replaced", "", 0),  # SoftmaxWithLoss
    "016fb3772f81f366a80d": ("replaced", "", 1),  # col2im
    "2331cb85900726c78958": ("replaced", "", 0),  # col2im
    "483d3526a48de521ea1a": ("replaced", "", 0),  # im2col
    "d3449e8eb192b60aa951": ("replaced", "", 0),  # im2col
    "5ba843383c381ef360a2": ("replaced", "", 0),  # relu
    "96a53900b83a5bf40b42": ("replaced", "", 0),  # sigmoid
    "2f6cbed178623f3bdab1": ("replaced", "", 0),  # softmax
    "b22d474f3698e8ed17a3": ("replaced", "", 0),  # softmax
}
