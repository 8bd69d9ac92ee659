import torch, math
import torch.distributions as D
from torch.distributions.normal import Normal
from torch.distributions.categorical import Categorical
from torch.distributions.multivariate_normal import MultivariateNormal

torch.manual_seed(0)
t = torch.tensor
A = t([[2.0, 0.5], [0.5, 1.0]])
ds = dict(
    n=Normal(0.0, 1.0),
    n2=Normal(t([0.0, 1.0]), t([1.0, 2.0])),
    u=D.Uniform(t(0.0), t([1.0, 3.0])),
    b=D.Bernoulli(t([0.2, 0.7])),
    bl=D.Bernoulli(logits=t([-1.0, 2.0])),
    c=Categorical(t([0.1, 0.2, 0.7])),
    cl=Categorical(logits=torch.randn(2, 4)),
    ln=D.LogNormal(0.0, 0.5),
    lap=D.Laplace(t([0.0, 1.0]), 2.0),
    ca=D.Cauchy(0.0, 1.0),
    e=D.Exponential(t([1.0, 2.0])),
    g=D.Gamma(t([0.5, 3.0]), t([1.0, 2.0])),
    be=D.Beta(t([0.5, 2.0]), t([1.0, 3.0])),
    di=D.Dirichlet(t([0.5, 2.0, 1.0])),
    ch=D.Chi2(t([3.0])),
    st=D.StudentT(5.0, 1.0, 2.0),
    po=D.Poisson(t([1.0, 12.0])),
    ge=D.Geometric(t([0.3, 0.8])),
    bi=D.Binomial(10, t([0.3, 0.8])),
    mu=D.Multinomial(7, t([0.3, 0.7])),
    oh=D.OneHotCategorical(t([0.3, 0.7])),
    mv=MultivariateNormal(torch.zeros(2), A),
    mvs=MultivariateNormal(torch.ones(2), scale_tril=torch.linalg.cholesky(A)),
    mvp=MultivariateNormal(torch.ones(3, 2), precision_matrix=A),
    ind=D.Independent(Normal(torch.zeros(3, 2), torch.ones(3, 2)), 1),
    gu=D.Gumbel(0.5, 2.0),
    hn=D.HalfNormal(2.0),
    hc=D.HalfCauchy(t([2.0])),
    we=D.Weibull(t([1.0, 2.0]), t([1.5])),
    pa=D.Pareto(1.0, t([3.0, 4.0])),
    nb=D.NegativeBinomial(5.0, t([0.3, 0.5])),
    ig=D.InverseGamma(3.0, 2.0),
    rb=D.RelaxedBernoulli(t([0.5]), t([0.3, 0.6])),
    ro=D.RelaxedOneHotCategorical(t(0.7), t([0.2, 0.8])),
    td=D.TransformedDistribution(Normal(t([0.0, 1.0]), 1.0), [D.transforms.TanhTransform()]),
    td2=D.TransformedDistribution(Normal(0.0, 1.0), [D.AffineTransform(1.0, 2.0), D.ExpTransform()]),
    mix=D.MixtureSameFamily(Categorical(t([0.3, 0.7])), Normal(t([0.0, 5.0]), t([1.0, 2.0]))),
    ohs=D.OneHotCategoricalStraightThrough(t([0.3, 0.7])),
    logit=D.TransformedDistribution(
        D.Uniform(0.0, 1.0), [D.SigmoidTransform().inv, D.AffineTransform(loc=0.0, scale=1.0)]
    ),
)
for name, d in ds.items():
    print(name, d, d.batch_shape, d.event_shape, d.has_rsample)
    s = d.sample()
    print(s, s.dtype)
    s2 = d.sample((2, 3))
    print(s2.shape, s2.sum())
    print(d.log_prob(s), d.log_prob(s2).sum())
    for f in ("mean", "variance", "stddev", "mode"):
        try:
            print(f, getattr(d, f))
        except NotImplementedError:
            print(f, "NotImplemented")
    for f in ("entropy", "enumerate_support"):
        try:
            print(f, getattr(d, f)())
        except NotImplementedError:
            print(f, "NotImplemented")
    for f in ("cdf",):
        if name in ("g", "ch", "ig"):
            continue  # the incomplete gamma function isn't there
        try:
            print(f, getattr(d, f)(s))
        except NotImplementedError:
            print(f, "NotImplemented")
    try:
        print("icdf", d.icdf(torch.full(d.batch_shape, 0.3)))
    except NotImplementedError:
        print("icdf no")
    e = d.expand((2,) + tuple(d.batch_shape)) if name not in ("mvp",) else d
    print(e.batch_shape, e.sample().shape)
kl = D.kl_divergence
for p, q in (
    ("n", "n2"),
    ("b", "bl"),
    ("cl", "cl"),
    ("g", "g"),
    ("e", "e"),
    ("lap", "lap"),
    ("mv", "mvs"),
    ("ind", "ind"),
    ("di", "di"),
    ("po", "po"),
    ("ge", "ge"),
    ("u", "n"),
    ("u", "u"),
    ("hn", "hn"),
    ("ca", "ca"),
    ("gu", "gu"),
    ("pa", "pa"),
    ("e", "g"),
    ("oh", "ohs"),
    ("ln", "ln"),
    ("be", "be"),
    ("bi", "bi"),
):
    print(p, q, kl(ds[p], ds[q]))
try:
    kl(ds["n"], ds["c"])
except NotImplementedError as e:
    print("no kl")
for f in (
    lambda: Normal(0.0, -1.0),
    lambda: Categorical(t([-0.1, 1.1])),
    lambda: D.Bernoulli(2.0),
    lambda: Normal(0.0, 1.0).log_prob(t(float("nan"))),
    lambda: D.Bernoulli(0.5).log_prob(t(0.5)),
    lambda: Categorical(t([0.5, 0.5])).log_prob(t(2)),
    lambda: D.Uniform(1.0, 0.0),
    lambda: D.Uniform(0.0, 1.0).log_prob(t(2.0)),
    lambda: D.Bernoulli(),
    lambda: MultivariateNormal(torch.zeros(2), -A),
    lambda: Normal("a", 1),
    lambda: D.Categorical(t(0.5)),
    lambda: D.Bernoulli(0.5).rsample(),
):
    try:
        f()
        print("fine")
    except (ValueError, RuntimeError, NotImplementedError) as e:
        print(isinstance(e, ValueError))

mu = t([0.5, -1.0], requires_grad=True)
ls = t([0.0, 0.1], requires_grad=True)
d = Normal(mu, ls.exp())
torch.manual_seed(1)
(d.rsample((4,)) ** 2).sum().backward()
print(mu.grad, ls.grad)
mu.grad = None
ls.grad = None
x = t([1.0, 2.0])
d = Normal(mu, ls.exp())
(-d.log_prob(x).sum() - d.entropy().sum()).backward()
print(mu.grad, ls.grad)
L = t([[1.0, 0.0], [0.3, 2.0]], requires_grad=True)
m = t([0.0, 1.0], requires_grad=True)
d = MultivariateNormal(m, scale_tril=L)
d.log_prob(x).backward()
print(m.grad, L.grad)
lg = torch.zeros(3, requires_grad=True)
c = Categorical(logits=lg)
(c.log_prob(t([0, 1, 1])).sum() + c.entropy()).backward()
print(lg.grad)
a = t([2.0, 3.0], requires_grad=True)
b = t([1.0, 1.5], requires_grad=True)
D.Beta(a, b).log_prob(t([0.3, 0.6])).sum().backward()
print(a.grad, b.grad)
p = t([0.3], requires_grad=True)
D.Bernoulli(p).log_prob(t([1.0])).backward()
print(p.grad)
print(
    Categorical(torch.ones(3)).probs,
    Categorical(torch.ones(2, 3)).sample().shape,
    Categorical(torch.ones(2, 3)).param_shape,
    D.Normal(0, 1).sample(),
    Normal(0.0, 1.0, validate_args=False),
)
w = t([0.3, 0.7], requires_grad=True)
mm = t([0.0, 5.0], requires_grad=True)
D.MixtureSameFamily(Categorical(w), Normal(mm, 1.0)).log_prob(t([1.0, 4.0])).sum().backward()
print(w.grad, mm.grad)
tmp = D.RelaxedOneHotCategorical(t(0.5), logits=lg)
torch.manual_seed(0)
s = tmp.rsample()
print(s)
lg.grad = None
s[0].backward()
print(lg.grad)
