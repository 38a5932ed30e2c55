"""100 digits drawn as they are by default, against 20 steps that are guided everywhere, as they were before.

``make bench`` runs it. Both ways are drawn by the denoiser that ships, from the same noise, in full batches. Beside the
seconds stand the scores of the digits: the default may be neither read less often nor further from real ones. The
target on two cores without bf16 is 15 seconds.
"""

import time

import outcome

from hw2lib.classifier.scores import digit_scores, grader
from hw2lib.diffusion import sample
from hw2lib.diffusion.samplers import SamplerSettings
from hw2lib.training.run_folder import shipped_run

NETWORK, COUNT, SECONDS = "context-unet-64", 100, 15
WAYS = {
    "guided everywhere": SamplerSettings("ddim", 20, guidance_weight=2.0, eta=1.0),
    "the default": sample.DEFAULT,
}


def main() -> None:
    """Measure and write ``build/bench/digit_drawing.json``."""
    denoiser, judge = sample.load(shipped_run(f"{NETWORK}/ours/seed-0", None, with_weights=True)), grader()
    seconds, measured = {}, {}
    for name, way in WAYS.items():
        sample.sample(denoiser, way, seed=1, count=10, mixed=True)  # the first call of a network takes longer
        began = time.perf_counter()
        images, labels = sample.sample(denoiser, way, seed=0, count=COUNT, mixed=True)
        seconds[name] = time.perf_counter() - began
        scores = digit_scores(images, labels, judge)
        measured[name] = {"title": way.title, "calls": way.calls(1000), "seconds": round(seconds[name], 1)}
        measured[name] |= {key: round(scores[key], 1) for key in ("accuracy", "frechet")}
    before, now = seconds.values()
    outcome.save(
        "digit_drawing", NETWORK, sample.BATCH, {name: COUNT / x for name, x in seconds.items()}, measured,
        [f"{name}: {x['title']}; {x['calls']} calls, {x['accuracy']} % read, Fréchet distance {x['frechet']}"
         for name, x in measured.items()]
        + [f"{before / now:8.2f} times as fast", f"{now:8.1f} s for {COUNT} digits (target: {SECONDS})"],
    )  # fmt: skip


if __name__ == "__main__":
    main()
