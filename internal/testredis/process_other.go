//go:build !linux

package testredis

import "syscall"

// dieWithParent: there is no parent-death signal here, so a server outlives a test
// process that is killed.
func dieWithParent() *syscall.SysProcAttr { return nil }

// hasStopped cannot look, so a command that was just being executed may still end.
func hasStopped(int) bool { return true }
