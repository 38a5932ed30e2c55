"""Samplers against diffusers' schedulers, closed forms, and each other."""

import functools
import sys

import diffusers
import pytest
import torch

from hw2lib.diffusion import samplers
from hw2lib.diffusion.samplers import SAMPLERS, Sampler, SamplerSettings, guided
from hw2lib.diffusion.schedule import cosine, dropped, grid, linear, min_snr_weights, noise_of, noised, velocity
from hw2lib.errors import UserError
from hw2lib.noise import LARGEST_SEED, PLACES, ImageNoise

T = 100
LABELS = torch.tensor([3, -1, 7])
ddpm, ddim, dpm_solver = SAMPLERS.values()
posterior = Sampler(functools.partial(samplers.ddpm, variance="posterior"), "DDPM")


def toy(x, time, labels):
    """Neither linear in the image nor in time, and other for each label."""
    time, labels = (v.reshape(-1, 1, 1, 1) for v in (time, labels))
    return torch.tanh(0.7 * x + time) + 0.05 * labels * time * x.roll(1, -1)


def noise(seed=0, numbers=(0, 1, 2)):
    return ImageNoise(seed, numbers)


def test_seeds_that_would_repeat_others_are_refused():
    with pytest.raises(UserError, match="seed 4293: give 0 to 4292"):
        noise(LARGEST_SEED + 1)
    with pytest.raises(UserError, match="seed -1"):
        noise(-1)
    assert (LARGEST_SEED + 1) * PLACES < 2**32, "the last of its images is another than the first of seed 0"
    assert noise(LARGEST_SEED).draw(1).shape == (3, 1)


def theirs(scheduler, x):
    """The whole loop with a scheduler of diffusers, in float64."""
    states = [x]
    for t in scheduler.timesteps:
        predicted = toy(x, torch.full((len(x),), (int(t) + 1) / T, dtype=x.dtype), LABELS)
        x = scheduler.step(predicted, t, x).prev_sample
        states.append(x)
    return states


@pytest.mark.parametrize(
    ("spacing", "count"), [("leading", 100), ("leading", 20), ("leading", 7), ("trailing", 100), ("trailing", 20)]
)
def test_ddim_is_that_of_diffusers_step_by_step(spacing, count):
    x = noise().draw(2, 4, 4).double()
    scheduler = diffusers.DDIMScheduler(T, 1e-4, 2e-2, clip_sample=False, timestep_spacing=spacing)
    scheduler.alphas_cumprod = linear(T).alpha_bar[1:]
    scheduler.set_timesteps(count)
    found = ddim(toy, x, LABELS, linear(T), grid(T, count, spacing), return_intermediates=True)
    expected = theirs(scheduler, x)
    for ours, other in zip(found, expected, strict=True):
        assert torch.allclose(ours, other, atol=1e-6)


def test_the_offset_grid_is_that_of_diffusers():
    x = noise().draw(2, 4, 4).double()
    options = {"clip_sample": False, "timestep_spacing": "leading", "steps_offset": 1, "set_alpha_to_one": False}
    scheduler = diffusers.DDIMScheduler(T, 1e-4, 2e-2, **options)
    scheduler.set_timesteps(20)
    found = ddim(toy, x, LABELS, linear(T), grid(T, 20, "leading-offset"))
    assert torch.allclose(found, theirs(scheduler, x)[-1], atol=1e-5)


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_ddim_with_noise_is_that_of_diffusers(eta):
    x = noise().draw(2, 4, 4).double()
    scheduler = diffusers.DDIMScheduler(T, 1e-4, 2e-2, clip_sample=False)
    scheduler.set_timesteps(20)
    of_diffusers, ours = noise(1), noise(1)
    expected = x
    for t in scheduler.timesteps:
        predicted = toy(expected, torch.full((3,), (int(t) + 1) / T, dtype=x.dtype), LABELS)
        drawn = of_diffusers.draw(2, 4, 4).double()
        expected = scheduler.step(predicted, t, expected, eta=eta, variance_noise=drawn).prev_sample
    found = ddim(toy, x, LABELS, linear(T), grid(T, 20, "leading"), eta, ours.draw)
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("count", [100, 20])
@pytest.mark.parametrize(("ours", "theirs"), [(ddpm, "fixed_large"), (posterior, "fixed_small")])
def test_ddpm_is_that_of_diffusers_step_by_step(ours, theirs, count, monkeypatch):
    x = noise().draw(2, 4, 4).double()
    scheduler = diffusers.DDPMScheduler(T, 1e-4, 2e-2, variance_type=theirs, clip_sample=False)
    scheduler.alphas_cumprod = linear(T).alpha_bar[1:]  # theirs are float32
    scheduler.set_timesteps(count)
    drawn = noise(1)
    module = sys.modules[diffusers.DDPMScheduler.__module__]
    monkeypatch.setattr(module, "randn_tensor", lambda shape, **_: drawn.draw(*shape[1:]).double())
    expected = [x]
    for t in scheduler.timesteps:
        predicted = toy(expected[-1], torch.full((3,), (int(t) + 1) / T, dtype=x.dtype), LABELS)
        expected.append(scheduler.step(predicted, t, expected[-1]).prev_sample)
    steps = grid(T, count, "leading")
    found = ours(toy, x, LABELS, linear(T), steps, draw=noise(1).draw, return_intermediates=True)
    for state, other in zip(found, expected, strict=True):
        assert torch.allclose(state, other, atol=1e-6)


def test_clipped_images_are_those_of_diffusers():
    x = 3 * noise().draw(2, 4, 4).double()
    scheduler = diffusers.DDIMScheduler(T, 1e-4, 2e-2, clip_sample=True)
    scheduler.set_timesteps(20)
    expected = x
    for t in scheduler.timesteps:
        predicted = toy(expected, torch.full((3,), (int(t) + 1) / T, dtype=x.dtype), LABELS)
        expected = scheduler.step(predicted, t, expected, use_clipped_model_output=True).prev_sample
    found = ddim(toy, x, LABELS, linear(T), grid(T, 20, "leading"), clip=True)
    assert torch.allclose(found, expected, atol=1e-5)
    assert found.abs().max() <= 1
    assert ddim(toy, x, LABELS, linear(T), grid(T, 20, "leading")).abs().max() > 1


@pytest.mark.parametrize("count", [100, 20, 10])
def test_dpm_solver_is_that_of_diffusers(count):
    x = noise().draw(2, 4, 4).double()
    scheduler = diffusers.DPMSolverMultistepScheduler(
        T, 1e-4, 2e-2, timestep_spacing="trailing", final_sigmas_type="zero", lower_order_final=False
    )
    scheduler.set_timesteps(count)
    found = dpm_solver(toy, x, LABELS, linear(T), grid(T, count), return_intermediates=True)
    expected = theirs(scheduler, x)
    for ours, other in zip(found, expected, strict=True):
        assert torch.allclose(ours, other.to(ours.dtype), atol=2e-4)


@pytest.mark.parametrize("count", [100, 20, 10])
def test_dpm_solver_with_noise_is_that_of_diffusers(count):
    x = noise().draw(2, 4, 4).double()
    scheduler = diffusers.DPMSolverMultistepScheduler(
        T, 1e-4, 2e-2, timestep_spacing="trailing", final_sigmas_type="zero", lower_order_final=False,
        algorithm_type="sde-dpmsolver++",
    )  # fmt: skip
    scheduler.set_timesteps(count)
    of_diffusers, expected = noise(1), [x]
    for t in scheduler.timesteps:
        predicted = toy(expected[-1], torch.full((3,), (int(t) + 1) / T, dtype=x.dtype), LABELS)
        drawn = of_diffusers.draw(2, 4, 4).double()
        expected.append(scheduler.step(predicted, t, expected[-1], variance_noise=drawn).prev_sample)
    found = dpm_solver(toy, x, LABELS, linear(T), grid(T, count), 1.0, noise(1).draw, return_intermediates=True)
    for ours, other in zip(found, expected, strict=True):
        assert torch.allclose(ours, other.to(ours.dtype), atol=5e-4)


def test_a_step_of_first_order_with_noise_is_that_of_ddim():
    x, steps = noise().draw(2, 4, 4).double(), [60, 40]
    for eta in (0.0, 1.0):
        ours, other = (sampler(toy, x, LABELS, linear(T), steps, eta, noise(1).draw) for sampler in (dpm_solver, ddim))
        assert torch.allclose(ours, other, atol=1e-6)


def step_moments(sampler, t, x, **options):
    """Mean and deviation over many draws of a step from t to t - 1, which is not the last one."""
    many = x.expand(20_000, -1, -1, -1)
    draws = iter([torch.randn(20_000, *x.shape[1:], generator=torch.Generator().manual_seed(0)), torch.zeros(1)])
    states = sampler(
        lambda x, time, labels: toy(x, time, torch.zeros(1)),
        many, torch.zeros(20_000), linear(T), [t, t - 1, t - 2],
        draw=lambda *_: next(draws), return_intermediates=True, **options,
    )  # fmt: skip
    return states[1].mean(0), states[1].std(0)


def test_ddim_at_eta_1_is_ddpm_in_mean_and_variance():
    t, x = 60, noise().draw(1, 2, 2)[:1]
    mean, deviation = step_moments(ddim, t, x, eta=1.0)
    other_mean, other_deviation = step_moments(posterior, t, x)
    alpha_bar, beta = linear(T).alpha_bar, linear(T).beta[t - 1]
    predicted = toy(x, torch.tensor([t / T]), torch.zeros(1))[0]
    closed = (x[0] - beta / (1 - alpha_bar[t]).sqrt() * predicted) / (1 - beta).sqrt()
    variance = (1 - alpha_bar[t - 1]) / (1 - alpha_bar[t]) * beta
    assert torch.allclose(mean.double(), closed.double(), atol=4 * float(variance.sqrt()) / 140)
    assert torch.allclose(mean, other_mean, atol=1e-5)
    assert torch.allclose(deviation, other_deviation, atol=1e-5)
    assert torch.allclose(deviation.double(), variance.sqrt().expand_as(deviation), rtol=0.02)
    _, larger = step_moments(ddpm, t, x)
    assert torch.allclose(larger.double(), beta.sqrt().expand_as(larger), rtol=0.02)


def test_ddim_at_eta_1_and_ddpm_end_in_the_same_place():
    x = noise().draw(1, 4, 4)
    steps = grid(T, T)
    found = ddim(toy, x, LABELS, linear(T), steps, 1.0, noise(1).draw)
    expected = posterior(toy, x, LABELS, linear(T), steps, draw=noise(1).draw)
    assert torch.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("count", [1, 2, 10, 100])
@pytest.mark.parametrize("schedule", [linear(T), cosine(T)], ids=["linear", "cosine"])
def test_with_the_exact_noise_of_a_known_image_it_returns_that_image(name, count, schedule):
    image = torch.rand(3, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def exact(x, time, labels):
        alpha_bar = schedule.alpha_bar[round(float(time[0]) * T)]
        return (x - alpha_bar.sqrt() * image) / (1 - alpha_bar).sqrt()

    options = {"draw": noise(1).draw} if name == "ddpm" else {}
    x = noise().draw(2, 4, 4).double()
    found = SAMPLERS[name](exact, x, LABELS, schedule, grid(T, count), **options)
    assert torch.allclose(found, image, atol=1e-6)


def test_the_offset_grid_leaves_a_trace_of_noise():
    image, schedule = torch.full((1, 1, 2, 2), 0.5, dtype=torch.float64), linear(T)
    epsilon = noise(2, [0]).draw(1, 2, 2).double()
    x = noised(image, epsilon, torch.tensor([82]), schedule)
    found = ddim(lambda *_: epsilon, x, LABELS[:1], schedule, [82, 42, 2, 1])
    assert torch.allclose(found, schedule.alpha_bar[1].sqrt() * image + (1 - schedule.alpha_bar[1]).sqrt() * epsilon)


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_image_does_not_depend_on_the_others(name):
    def run(numbers, labels):
        of_steps = noise(0, numbers)
        x = of_steps.draw(1, 4, 4)
        options = {"draw": of_steps.draw} if name == "ddpm" else {}
        if name == "ddim":
            options = {"draw": of_steps.draw, "eta": 0.5}
        return SAMPLERS[name](toy, x, labels, linear(T), grid(T, 10), **options)

    assert torch.equal(run([0, 1, 2], LABELS)[1:2], run([1], LABELS[1:2]))
    assert not torch.equal(run([0], LABELS[:1]), run([5], LABELS[:1]))


def test_all_states_are_returned_on_request():
    x = noise().draw(1, 4, 4)
    states = ddim(toy, x, LABELS, linear(T), grid(T, 5), return_intermediates=True)
    assert len(states) == 6
    assert torch.equal(states[0], x)
    assert torch.equal(states[-1], ddim(toy, x, LABELS, linear(T), grid(T, 5)))


def test_dpm_solver_is_of_second_order():
    """Four times as exact with twice the steps, and DDIM twice; the last step, of first order, is left out."""
    x, schedule = noise().draw(1, 4, 4).double(), cosine(1600)

    def smooth(x, time, labels):
        """The exact noise where images are normal with deviation 0.3."""
        alpha_bar = schedule.alpha_bar[round(float(time[0]) * 1600)]
        return (1 - alpha_bar).sqrt() * x / (0.09 * alpha_bar + 1 - alpha_bar)

    def error(sampler, count):
        steps = [round(1200 - 800 * i / count) for i in range(count + 1)]
        exact = (0.09 * schedule.alpha_bar + 1 - schedule.alpha_bar).sqrt()  # deviation of x on its deterministic way
        return (sampler(smooth, x, LABELS, schedule, steps) - x * exact[400] / exact[1200]).abs().mean()

    assert 1.8 < error(ddim, 40) / error(ddim, 80) < 2.3
    assert 3.5 < error(dpm_solver, 40) / error(dpm_solver, 80) < 4.6
    assert error(dpm_solver, 40) < 0.1 * error(ddim, 40)


def test_the_velocity_says_the_noise_and_the_image():
    torch.manual_seed(0)
    schedule, t = linear(1000), torch.tensor([1, 500, 1000])
    images, noise = torch.randn(3, 3, 4, 4).double(), torch.randn(3, 3, 4, 4).double()
    noisy, v = noised(images, noise, t, schedule), velocity(images, noise, t, schedule)
    assert torch.allclose(noise_of(v, noisy, t, schedule), noise)
    alpha_bar = schedule.alpha_bar[t].reshape(-1, 1, 1, 1)
    assert torch.allclose(v, alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * images)
    assert torch.allclose(alpha_bar.sqrt() * noisy - (1 - alpha_bar).sqrt() * v, images)


def test_the_forward_process():
    images, epsilon = noise(3).draw(1, 100, 100), noise(4).draw(1, 100, 100)
    t = torch.tensor([0, 50, 100])
    x = noised(images, epsilon, t, cosine(T))
    assert torch.equal(x[0], images[0])
    assert x[1].std() == pytest.approx(1, abs=0.02), "of images of variance 1 it keeps the variance"
    assert (x[2] - epsilon[2]).abs().mean() < 0.05


def test_labels_are_dropped_image_by_image():
    torch.manual_seed(0)
    labels = torch.arange(10).repeat(1000)
    found = dropped(labels, 0.1)
    assert ((found == -1) | (found == labels)).all()
    assert (found == -1).float().mean() == pytest.approx(0.1, abs=0.01)
    assert torch.equal(dropped(labels, 0.0), labels)
    assert (dropped(labels, 1.0) == -1).all()


def test_weights_make_the_loss_of_noise_that_of_the_image_up_to_the_cap():
    """An error of the noise is one of the image times 1 / SNR in the square; so w = c / SNR weighs the image by c."""
    schedule = cosine(1000)
    t = torch.arange(1, 1001)
    snr = schedule.alpha_bar[t] / (1 - schedule.alpha_bar[t])
    weights = min_snr_weights(t, schedule, 2.0)
    assert (weights[snr < 2] == 1).all()
    assert torch.allclose((weights * snr)[snr > 2], torch.tensor(2.0, dtype=torch.float64))
    assert weights.dtype == torch.float32
    assert 0 < weights[0] < 1e-3


def test_guidance():
    x, time = noise().draw(1, 4, 4), torch.full((3,), 0.5)
    labels = torch.tensor([3, 4, 7])
    c, u = toy(x, time, labels), toy(x, time, torch.full_like(labels, -1))
    assert torch.equal(guided(toy, 0)(x, time, labels), c)
    assert torch.allclose(guided(toy, 2)(x, time, labels), 3 * c - 2 * u, atol=1e-5)
    twice, together = (guided(toy, 1.5, together=how)(x, time, labels) for how in (False, True))
    assert torch.allclose(twice, together, atol=1e-6)


def test_guidance_that_does_nothing_costs_nothing():
    calls = []

    def counted(x, time, labels):
        calls.append(len(x))
        return x

    x, time, labels = torch.zeros(2, 1), torch.ones(2), torch.zeros(2, dtype=torch.int64)
    for weight, expected in [(0, [2]), (1, [2, 2])]:
        calls.clear()
        guided(counted, weight)(x, time, labels)
        assert calls == expected


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ((0.0, 1.0), [100, 80, 60, 40, 20]),
        ((0.4, 0.8), [80, 60]),  # the lower end is not in it, the upper one is
        ((0.2, 0.8), [80, 60, 40]),
        ((0.81, 0.99), []),
    ],
)
def test_the_model_is_called_without_labels_in_the_interval_alone(name, interval, expected):
    calls = []

    def counted(x, time, labels):
        calls.append((round(T * float(time[0])), labels.tolist()))
        return toy(x, time, labels)

    settings = SamplerSettings(name, 5, 1.5, guidance_interval=interval)
    model = guided(counted, settings.guidance_weight, settings.guidance_interval)
    x, steps, draw = noise().draw(1, 4, 4), grid(T, 5), noise().draw
    found = SAMPLERS[name](model, x, LABELS, linear(T), steps, draw=draw)
    assert [t for t, labels in calls if labels == LABELS.tolist()] == [100, 80, 60, 40, 20]
    assert [t for t, labels in calls if labels == [-1, -1, -1]] == expected
    assert len(calls) == settings.calls(T)

    def by_hand(x, time, labels):
        w = 1.5 * (round(T * float(time[0])) in expected)
        return (1 + w) * toy(x, time, labels) - w * toy(x, time, torch.full_like(labels, -1))

    again = SAMPLERS[name](by_hand, x, LABELS, linear(T), steps, draw=noise().draw)
    assert torch.allclose(found, again, atol=1e-4)


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_interval_that_holds_all_or_no_steps(name):
    def drawn(*guidance):
        return SAMPLERS[name](guided(toy, *guidance), x, LABELS, linear(T), grid(T, 5), draw=noise(1).draw)

    x = noise().draw(1, 4, 4)
    assert torch.equal(drawn(2.0, (0.0, 1.0)), drawn(2.0))
    assert torch.equal(drawn(2.0, (0.81, 0.99)), drawn(0.0))
    assert not torch.equal(drawn(2.0, (0.4, 0.8)), drawn(0.0))


@pytest.mark.parametrize(
    ("settings", "calls"),
    [
        (SamplerSettings("ddim", 10), 10),
        (SamplerSettings("ddim", 10, 2.0), 20),
        (SamplerSettings("ddim", 10, 2.0, guidance_interval=(0.25, 0.85)), 16),
        (SamplerSettings("ddim", 10, 2.0, guidance_interval=(0.3, 0.8)), 15),
        (SamplerSettings("ddpm", None, 1.0, guidance_interval=(0.5, 1.0)), 1500),
        (SamplerSettings("ddim", 50, 1.0, spacing="leading", guidance_interval=(0.0, 0.021)), 52),  # steps 1 and 21
    ],
)
def test_how_often_the_network_is_called(settings, calls):
    assert settings.calls(1000) == calls


def test_eta_is_for_samplers_that_have_one():
    with pytest.raises(TypeError, match="eta"):
        ddpm(toy, noise().draw(1, 4, 4), LABELS, linear(T), grid(T, 5), 0.5, noise().draw)


def test_bad_input():
    x, schedule = noise().draw(1, 4, 4), linear(T)
    with pytest.raises(UserError, match="guidance weight -1: give 0 or more"):
        guided(toy, -1)
    with pytest.raises(UserError, match=r"eta 1.5: give 0 to 1"):
        ddim(toy, x, LABELS, schedule, grid(T, 5), 1.5)
    with pytest.raises(UserError, match=r"eta 0.5 needs noise"):
        ddim(toy, x, LABELS, schedule, grid(T, 5), 0.5)
    with pytest.raises(UserError, match="unknown variance 'none'"):
        samplers.ddpm(schedule, grid(T, 5), noise().draw, "none")
    for bad in ([5], [5, 5], [3, 5], [101, 0], [5, -1]):
        with pytest.raises(UserError, match="a grid falls from at most 100"):
            ddim(toy, x, LABELS, schedule, bad)
