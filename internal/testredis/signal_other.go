//go:build !unix

package testredis

import "syscall"

// No such signals here: to send them is an error, and the server is ended by Kill
// alone. The package is there to compile, where somebody builds everything.
const (
	sigStop = syscall.Signal(-1)
	sigCont = syscall.Signal(-1)
)
