"""The released checkpoint's dimensions, without its weights."""

from engine.config import DecoderConfig, EncoderConfig, FeatureConfig, ModelConfig, PromptConfig

RELEASED = ModelConfig(
    features=FeatureConfig(mels=128),
    encoder=EncoderConfig(
        layers=24,
        d_model=1024,
        heads=8,
        d_ff=4096,
        conv_kernel=9,
        subsampling_channels=256,
        use_bias=False,
        xscaling=False,
        left_context=56,
        lookaheads=(0, 1, 3, 6, 13),
    ),
    prompt=PromptConfig(count=128, dictionary={"auto": 101}),
    decoder=DecoderConfig(vocabulary=13_087, hidden=640, layers=2, joint_hidden=640, max_symbols=10),
)
