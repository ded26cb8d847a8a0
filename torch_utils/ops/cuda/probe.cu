// The smallest kernel there is: building and loading it shows whether kernels work on a machine.

__global__ void probe() {}
