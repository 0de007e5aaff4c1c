package main_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"
	rsredis "github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/locktest"
	"github.com/holdfast-go/holdfast/mutex"
	"github.com/holdfast-go/holdfast/redlock"
)

// other is a lock of another library on the same key: try returns how to unlock.
type other struct {
	name string
	try  func(ctx context.Context, key string) (unlock func(context.Context) error, err error)
}

func others(rdb *redis.Client) []other {
	bsm := redislock.New(rdb)
	rs := redsync.New(goredis.NewPool(rdb))
	return []other{
		{"bsm/redislock", func(ctx context.Context, key string) (func(context.Context) error, error) {
			l, err := bsm.Obtain(ctx, key, 10*time.Second, nil)
			if err != nil {
				return nil, err
			}
			return l.Release, nil
		}},
		{"redsync", func(ctx context.Context, key string) (func(context.Context) error, error) {
			m := rs.NewMutex(key, redsync.WithExpiry(10*time.Second))
			if err := m.TryLockContext(ctx); err != nil {
				return nil, err
			}
			return func(ctx context.Context) error {
				_, err := m.UnlockContext(ctx)
				return err
			}, nil
		}},
	}
}

// TestInterop: with an empty prefix Holdfast excludes, and is excluded by, every
// library that writes "SET name value NX PX ttl".
func TestInterop(t *testing.T) {
	server := locktest.NewServer(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = rdb.Close() }()
	ours := mutex.New(server.Client(holdfast.WithPrefix("")), "shared")
	for _, o := range others(rdb) {
		t.Run(o.name, func(t *testing.T) {
			ctx := t.Context()
			lease, err := ours.Lock(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = o.try(ctx, "shared"); err == nil {
				t.Fatal("the other library locked what Holdfast holds")
			}
			if err = lease.Release(ctx); err != nil {
				t.Fatal(err)
			}
			unlock, err := o.try(ctx, "shared")
			if err != nil {
				t.Fatal(err)
			}
			_, err = ours.TryLock(ctx)
			var held *holdfast.HeldError
			if !errors.As(err, &held) || held.Holder != "" || held.Remaining <= 0 {
				t.Fatalf("TryLock of a foreign lock: %v", err)
			}
			waited := make(chan error, 1)
			go func() {
				waited <- ours.Do(ctx, func(context.Context) error { return nil })
			}()
			if err := unlock(ctx); err != nil { // it wakes nobody: the head of the queue polls
				t.Fatal(err)
			}
			select {
			case err := <-waited:
				if err != nil {
					t.Fatal(err)
				}
			case <-time.After(5 * time.Second):
				t.Fatal("the waiter did not find the foreign lock free")
			}
		})
	}
}

// TestRedlockInterop: the same of a lock on several servers, with redsync on all of
// them.
func TestRedlockInterop(t *testing.T) {
	ctx := t.Context()
	var clients []*holdfast.Client
	var pools []rsredis.Pool
	for range 3 {
		server := locktest.NewServer(t)
		clients = append(clients, server.Client(holdfast.WithPrefix("")))
		rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
		defer func() { _ = rdb.Close() }()
		pools = append(pools, goredis.NewPool(rdb))
	}
	ours := redlock.New(clients, "shared", holdfast.WithMaxWait(5*time.Second))
	theirs := redsync.New(pools...).NewMutex("shared", redsync.WithExpiry(10*time.Second))
	lease, err := ours.Lock(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err = theirs.TryLockContext(ctx); err == nil {
		t.Fatal("redsync locked what Holdfast holds")
	}
	if err = lease.Release(ctx); err != nil {
		t.Fatal(err)
	}
	theirs = redsync.New(pools...).NewMutex("shared", redsync.WithExpiry(10*time.Second))
	if err = theirs.LockContext(ctx); err != nil {
		t.Fatal(err)
	}
	_, err = ours.TryLock(ctx)
	var held *holdfast.HeldError
	if !errors.As(err, &held) || held.Holder != "" || held.Remaining <= 0 {
		t.Fatalf("TryLock of redsync's lock: %v", err)
	}
	if ok, failure := theirs.UnlockContext(ctx); !ok || failure != nil {
		t.Fatal(ok, failure)
	}
	if lease, err = ours.Lock(ctx); err != nil {
		t.Fatal(err)
	}
	if err = lease.Release(ctx); err != nil {
		t.Fatal(err)
	}
}
