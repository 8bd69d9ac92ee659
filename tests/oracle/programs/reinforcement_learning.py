import torch, math, random
from collections import namedtuple, deque
from itertools import count
import torch.nn as nn, torch.optim as optim, torch.nn.functional as F
from torch.distributions import Categorical, Normal

torch.manual_seed(543)
random.seed(0)


class Env:
    def reset(self):
        self.s = torch.zeros(4)
        self.t = 0
        return self.s.numpy().copy(), {}

    def step(self, a):
        self.s = self.s * 0.9 + (0.1 if a else -0.1)
        self.t += 1
        return self.s.numpy().copy(), float(1 - abs(self.s.sum())), self.t >= 20, False, {}


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1 = nn.Linear(4, 128)
        self.dropout = nn.Dropout(p=0.0)
        self.affine2 = nn.Linear(128, 2)
        self.saved_log_probs = []
        self.rewards = []

    def forward(self, x):
        x = self.affine1(x)
        x = self.dropout(x)
        x = F.relu(x)
        return F.softmax(self.affine2(x), dim=1)


policy = Policy()
optimizer = optim.Adam(policy.parameters(), lr=1e-2)
eps = 1e-8
env = Env()


def select_action(state):
    state = torch.from_numpy(state).float().unsqueeze(0)
    probs = policy(state)
    m = Categorical(probs)
    action = m.sample()
    policy.saved_log_probs.append(m.log_prob(action))
    return action.item()


for ep in range(5):
    state, _ = env.reset()
    R = 0
    acts = []
    while True:
        a = select_action(state)
        acts.append(a)
        state, r, done, _, _ = env.step(a)
        policy.rewards.append(r)
        if done:
            break
    returns = deque()
    for r in policy.rewards[::-1]:
        R = r + 0.99 * R
        returns.appendleft(R)
    returns = torch.tensor(returns)
    returns = (returns - returns.mean()) / (returns.std() + eps)
    pl = []
    for lp, R in zip(policy.saved_log_probs, returns):
        pl.append(-lp * R)
    optimizer.zero_grad()
    loss = torch.cat(pl).sum()
    loss.backward()
    optimizer.step()
    del policy.rewards[:]
    del policy.saved_log_probs[:]
    print(acts, loss.item())
# actor critic
SavedAction = namedtuple("SavedAction", ["log_prob", "value"])


class AC(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1 = nn.Linear(4, 128)
        self.action_head = nn.Linear(128, 2)
        self.value_head = nn.Linear(128, 1)
        self.saved_actions = []
        self.rewards = []

    def forward(self, x):
        x = F.relu(self.affine1(x))
        return F.softmax(self.action_head(x), dim=-1), self.value_head(x)


model = AC()
opt = optim.Adam(model.parameters(), lr=3e-2)
for ep in range(3):
    s, _ = env.reset()
    model.rewards = []
    model.saved_actions = []
    R = 0
    ent = 0
    for t in range(20):
        probs, v = model(torch.from_numpy(s).float())
        m = Categorical(probs)
        a = m.sample()
        ent = ent + m.entropy()
        model.saved_actions.append(SavedAction(m.log_prob(a), v))
        s, r, d, _, _ = env.step(a.item())
        model.rewards.append(r)
    rets = []
    for r in model.rewards[::-1]:
        R = r + 0.99 * R
        rets.insert(0, R)
    rets = torch.tensor(rets)
    rets = (rets - rets.mean()) / (rets.std() + 1e-7)
    pl, vl = [], []
    for (lp, v), R in zip(model.saved_actions, rets):
        adv = R - v.item()
        pl.append(-lp * adv)
        vl.append(F.smooth_l1_loss(v, torch.tensor([R])))
    opt.zero_grad()
    loss = torch.stack(pl).sum() + torch.stack(vl).sum() - 0.01 * ent
    loss.backward()
    opt.step()
    print(loss.item(), ent.item())
# DQN
Transition = namedtuple("Transition", ("state", "action", "next_state", "reward"))


class ReplayMemory(object):
    def __init__(self, capacity):
        self.memory = deque([], maxlen=capacity)

    def push(self, *args):
        self.memory.append(Transition(*args))

    def sample(self, batch_size):
        return random.sample(self.memory, batch_size)

    def __len__(self):
        return len(self.memory)


class DQN(nn.Module):
    def __init__(self, n_observations, n_actions):
        super(DQN, self).__init__()
        self.layer1 = nn.Linear(n_observations, 128)
        self.layer2 = nn.Linear(128, 128)
        self.layer3 = nn.Linear(128, n_actions)

    def forward(self, x):
        x = F.relu(self.layer1(x))
        x = F.relu(self.layer2(x))
        return self.layer3(x)


device = torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
policy_net = DQN(4, 2).to(device)
target_net = DQN(4, 2).to(device)
target_net.load_state_dict(policy_net.state_dict())
opt = optim.AdamW(policy_net.parameters(), lr=1e-4, amsgrad=True)
memory = ReplayMemory(1000)
TAU = 0.005
state, info = env.reset()
state = torch.tensor(state, dtype=torch.float32, device=device).unsqueeze(0)
for t in count():
    if random.random() > 0.5:
        with torch.no_grad():
            action = policy_net(state).max(1).indices.view(1, 1)
    else:
        action = torch.tensor([[random.randrange(2)]], device=device, dtype=torch.long)
    obs, reward, term, trunc, _ = env.step(action.item())
    reward = torch.tensor([reward], device=device)
    ns = None if term else torch.tensor(obs, dtype=torch.float32, device=device).unsqueeze(0)
    memory.push(state, action, ns, reward)
    state = ns
    if term:
        state, _ = env.reset()
        state = torch.tensor(state).unsqueeze(0)
    if len(memory) >= 16:
        transitions = memory.sample(16)
        batch = Transition(*zip(*transitions))
        nfm = torch.tensor(tuple(map(lambda s: s is not None, batch.next_state)), device=device, dtype=torch.bool)
        nfn = torch.cat([s for s in batch.next_state if s is not None])
        sb = torch.cat(batch.state)
        ab = torch.cat(batch.action)
        rb = torch.cat(batch.reward)
        sav = policy_net(sb).gather(1, ab)
        nsv = torch.zeros(16, device=device)
        with torch.no_grad():
            nsv[nfm] = target_net(nfn).max(1).values
        esav = (nsv * 0.99) + rb
        loss = nn.SmoothL1Loss()(sav, esav.unsqueeze(1))
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_value_(policy_net.parameters(), 100)
        opt.step()
        tsd = target_net.state_dict()
        psd = policy_net.state_dict()
        for key in psd:
            tsd[key] = psd[key] * TAU + tsd[key] * (1 - TAU)
        target_net.load_state_dict(tsd)
        print(loss.item())
    if t > 40:
        break
# PPO-ish with Normal
mu = nn.Linear(3, 2)
log_std = nn.Parameter(torch.zeros(2))
obs = torch.randn(10, 3)
d = Normal(mu(obs), log_std.exp())
act = d.sample()
old = d.log_prob(act).sum(-1).detach()
adv = torch.randn(10)
o = optim.Adam([*mu.parameters(), log_std], lr=1e-2)
for _ in range(4):
    d = Normal(mu(obs), log_std.exp())
    ratio = (d.log_prob(act).sum(-1) - old).exp()
    l = -torch.min(ratio * adv, torch.clamp(ratio, 0.8, 1.2) * adv).mean() - 0.01 * d.entropy().mean()
    o.zero_grad()
    l.backward()
    o.step()
    print(l.item())
print(d, Categorical(torch.tensor([0.25, 0.75])), Categorical(logits=torch.zeros(2, 3)))
