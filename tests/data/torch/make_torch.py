#!/usr/bin/env python3
"""Checkpoints as PyTorch writes them, from a model.nc: make_torch.py MODEL.nc FOLDER  (PyTorch and netCDF4; the results are in this folder)

dict/: a dictionary under state_dict, with DataParallel's prefix, parameters, strided and shared tensors, unused ones of several types, an optimiser.
module/: the whole module pickled; its classes live in a package `nets` that no reader has."""
import collections, os, sys, types
import netCDF4, numpy as np, torch

nets = types.ModuleType("nets")
sys.modules["nets"] = nets

class Part(torch.nn.Module):
    pass

Part.__module__ = "nets"
nets.Part = Part

def module_of(tensors):
    root = Part()
    root.irreps_edge_mid = "2x0e+1x1o+1x1e"
    for name, t in tensors.items():
        *path, last = name.split(".")
        at = root
        for word in path:
            if word not in at._modules:
                at.add_module(word, Part())
            at = at._modules[word]
        if last.isdigit() or t.dim() == 0:
            at.register_buffer(last, t)
        else:
            at.register_parameter(last, torch.nn.Parameter(t))
    return root

f, out = netCDF4.Dataset(sys.argv[1]), sys.argv[2]
torch.manual_seed(1)
for kind in "dict", "module":
    os.makedirs(f"{out}/{kind}", exist_ok=True)
for r in range(len([g for g in f.groups if g.startswith("range")])):
    plain = {n: torch.from_numpy(np.array(v[:]).copy()) for n, v in f.groups[f"range{r}"].variables.items()}
    state = collections.OrderedDict()
    for i, (name, t) in enumerate(plain.items()):
        if t.dim() == 2 and i % 2:
            t = t.t().contiguous().t()
        state["module." + name] = torch.nn.Parameter(t) if i % 3 == 0 else t
    shared = torch.arange(20.0)
    state["module.head.half"] = torch.randn(3, 4).half()
    state["module.head.bfloat"] = torch.randn(5).bfloat16()
    state["module.norm.double"] = torch.randn(2, 2).double()
    state["module.blocks.0.ga_edge.a"] = shared[3:7]
    state["module.blocks.0.ga_edge.b"] = shared[::5]
    state["module.blocks.0.ga_edge.empty"] = torch.zeros(0)
    state["module.blocks.0.ga_edge.count"] = torch.tensor(7)
    state["module.head.mask"] = torch.tensor([True, False])
    line = torch.nn.Linear(2, 2)
    adam = torch.optim.Adam(line.parameters())
    line(torch.ones(2)).sum().backward()
    adam.step()
    torch.save({"epoch": 3, "state_dict": state, "optimizer": adam.state_dict(), "best": np.float64(0.3)},
               f"{out}/dict/model_range{r}_curr.pth.tar")
    torch.save(module_of(plain), f"{out}/module/model_range{r}_curr.pth.tar")
