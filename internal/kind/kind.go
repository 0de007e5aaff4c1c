// Package kind describes what sets one kind of lock apart from another: its
// scripts and how its requests are written. It is internal so that only the
// lock packages of this module can make a holdfast.Core.
package kind

import "github.com/holdfast-go/holdfast/lua"

// Kind is one kind of lock.
type Kind struct {
	Name string // part of the lock key
	// The scripts. All kinds share their arguments and replies; see lua/*.lua.
	Acquire, Release, Renew, Drop, Pump, Inspect, Evict *lua.Script
	// Owned: held by an owner, who may take it again, and who travels in the
	// context. Its acquisitions are counted in a key of their own, which each
	// of its scripts needs.
	Owned bool
	// Passes: may go from goroutine to goroutine inside a process, without Redis.
	Passes bool
	// Shared: several may hold it at once, so each request takes a place of its
	// own in the queue: one release can then admit them all.
	Shared bool
	// Majority: held on most of several servers, each asked by the try form of
	// Acquire alone: nobody queues, so nobody is granted or woken.
	Majority bool
}

// Mutex is the exclusive lock on one key.
var Mutex = oneKey("mutex", false)

// Redlock is the exclusive lock on a majority of independent servers. On each of
// them it is a mutex.
var Redlock = oneKey("redlock", true)

func oneKey(name string, majority bool) *Kind {
	return &Kind{
		Name:     name,
		Acquire:  lua.MutexAcquire,
		Release:  lua.MutexRelease,
		Renew:    lua.MutexRenew,
		Drop:     lua.MutexDrop,
		Pump:     lua.MutexPump,
		Inspect:  lua.MutexInspect,
		Evict:    lua.MutexEvict,
		Passes:   !majority,
		Majority: majority,
	}
}

// Reentrant is the exclusive lock that its owner may take again.
var Reentrant = &Kind{
	Name:    "reentrant",
	Acquire: lua.ReentrantAcquire,
	Release: lua.ReentrantRelease,
	Renew:   lua.ReentrantRenew,
	Drop:    lua.ReentrantDrop,
	Pump:    lua.ReentrantPump,
	Inspect: lua.ReentrantInspect,
	Evict:   lua.ReentrantEvict,
	Owned:   true,
}

// RWLock is for many readers or one writer.
var RWLock = weighted("rwlock")

// Semaphore is for a limited weight.
var Semaphore = weighted("semaphore")

func weighted(name string) *Kind {
	return &Kind{
		Name:    name,
		Acquire: lua.WeightedAcquire,
		Release: lua.WeightedRelease,
		Renew:   lua.WeightedRenew,
		Drop:    lua.WeightedDrop,
		Pump:    lua.WeightedPump,
		Inspect: lua.WeightedInspect,
		Evict:   lua.WeightedEvict,
		Shared:  true,
	}
}

// Ending makes the call that ends a lease at the server as if its client had
// released it; nil for what is no lease. Package holdfast sets it, for locktest.
var Ending func(lease any) *lua.Call
