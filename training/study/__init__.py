"""What D and C see: pictures and numbers of the dual diffusion, before a run and of a run.

`quantities` are the numbers, `stages` where on its way a horizon stands, `views` the noisy images,
`history` what a run wrote of itself; the charts draw them, `drawing` makes files of charts. Only
that needs matplotlib.
"""
