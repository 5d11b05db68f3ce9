import { killWithContainerd } from './support/containerd-kills';

// The claim: whatever is killed of our servers and containerd while images are pulled and read, nothing wrong is ever read, containers read on (after
// all of `serve` was killed: those that are started anew), and nothing is left over.

killWithContainerd('containerd with our snapshotter', 'containerd-doors');
