// Package library puts the locks that the bench compares behind one interface, each
// set up as its own documentation recommends.
package library

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// What is the same for all of them, so that the same work is compared.
const (
	// TTL is how long Redis keeps a lock whose holder is silent.
	TTL = 30 * time.Second
	// Renewal is how often those renew that renew.
	Renewal = TTL / 3
	// PoolSize is how many connections a client has at most. Those of go-redis have
	// as many by default on two cores. Rueidis has no pool: it sends everything on
	// one connection, on purpose.
	PoolSize = 20
)

// Locker is one client of a library: what a process makes once.
type Locker interface {
	// Lock returns the lock of that name, for one goroutine.
	Lock(name string) Lock
	Close() error
}

// Lock is a lock that one goroutine acquires again and again.
type Lock interface {
	// Acquire waits until the lock is held or ctx ends.
	Acquire(ctx context.Context) (Held, error)
}

// Held is a lock that is held. If it has a method Err() error, that tells of a loss.
type Held interface {
	Release(ctx context.Context) error
}

// Others is what a Locker may have beside exclusive locks.
type Others interface {
	Reader(name string) Lock
	Writer(name string) Lock
	Permit(name string, limit int64) Lock
}

// Config says where a client is.
type Config struct {
	Addr string
	// Of the processes that take part, this is the one with that number.
	Process, Processes int
}

// Library is one way to lock.
type Library struct {
	Name  string // what a job calls it
	Title string // what a table calls it
	How   string // how it was set up, for the reader of the results
	// Open makes a client; nil for Redisson, which runs in a JVM.
	Open func(ctx context.Context, c Config) (Locker, error)
	// Sends are the commands that its clients send beside scripts. What else the
	// server counts was called by a script.
	Sends []string
	// Sleeps: a waiter of it can be left asleep although the lock is free, so nothing
	// may rely on its coming to an end.
	Sleeps bool
	// SendsEach is what is sent once a cycle, by a name that scripts call as well.
	SendsEach int64
}

// All are the libraries, this project first.
func All() []Library {
	return []Library{
		holdfastLibrary(), redsyncLibrary(), bsmLibrary(time.Millisecond), bsmLibrary(100 * time.Millisecond),
		bsmRenewedLibrary(), rueidisLibrary(), redisson, redissonFair, redissonSemaphore, redissonPermits,
		bareLibrary(), publishLibrary(),
	}
}

// ByName finds a library.
func ByName(name string) (Library, error) {
	for _, l := range All() {
		if l.Name == name {
			return l, nil
		}
	}
	return Library{}, fmt.Errorf("there is no library %q", name)
}

// newRedis makes the go-redis client that all users of go-redis are given.
func newRedis(addr string) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr:                  addr,
		PoolSize:              PoolSize,
		ContextTimeoutEnabled: true,
	})
}
