// Package kind describes what sets one kind of lock apart from another: its
// scripts and how its requests are written. It is internal so that only the
// lock packages of this module can make a holdfast.Core.
package kind

import "github.com/holdfast-go/holdfast/lua"

// Kind is one kind of lock.
type Kind struct {
	Name string // part of the lock key
	// The scripts. All kinds share their arguments and replies; see lua/*.lua.
	Acquire, Release, Renew, Drop, Pump *lua.Script
}

// Mutex is the exclusive lock on one key.
var Mutex = &Kind{
	Name:    "mutex",
	Acquire: lua.MutexAcquire,
	Release: lua.MutexRelease,
	Renew:   lua.MutexRenew,
	Drop:    lua.MutexDrop,
	Pump:    lua.MutexPump,
}
