// Quickstart shows the main job of Holdfast on real work: workers that add to
// one account by read-then-write, without the lock and with it.
//
//	go run ./examples/quickstart
//
// starts an embedded Redis. With REDIS_URL set (redis://host:6379/0) it uses
// that server, and keys that begin with "quickstart:".
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/examples/internal/server"
	"github.com/holdfast-go/holdfast/mutex"
)

const (
	workers   = 5
	additions = 40 // by each worker
	account   = "quickstart:balance"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	options, stop, err := server.Start()
	if err != nil {
		return err
	}
	defer stop()
	rdb := redis.NewClient(options)
	defer func() { _ = rdb.Close() }() // the program ends here

	for _, step := range []func(context.Context, *redis.Client) error{addUp, whoHolds, loseALease} {
		if err := step(ctx, rdb); err != nil {
			return err
		}
	}
	return rdb.Del(ctx, account).Err()
}

// addUp lets the workers add 1 to the account many times: first with nothing
// between the reading and the writing, then under the lock.
func addUp(ctx context.Context, rdb *redis.Client) error {
	const want = workers * additions
	bare, err := total(ctx, rdb, func(_ *holdfast.Client, add func(context.Context) error) error {
		return add(ctx)
	})
	if err != nil {
		return err
	}
	fmt.Printf("\nWithout the lock: %d additions make %3d: %d updates lost.\n", want, bare, want-bare)

	locked, err := total(ctx, rdb, func(c *holdfast.Client, add func(context.Context) error) error {
		return mutex.New(c, "quickstart:account").Do(ctx, add)
	})
	if err != nil {
		return err
	}
	fmt.Printf("With the lock:    %d additions make %3d: %d updates lost.\n", want, locked, want-locked)
	if locked != want {
		return fmt.Errorf("the account is %d, not %d", locked, want)
	}
	if bare >= want {
		return errors.New("no update was lost without the lock: the workers did not run at once")
	}
	return nil
}

// total runs the workers, each with a client of its own as if it were a process
// of its own, and returns what is in the account then.
func total(ctx context.Context, rdb *redis.Client, guard func(*holdfast.Client, func(context.Context) error) error) (int, error) {
	if err := rdb.Set(ctx, account, 0, 0).Err(); err != nil {
		return 0, err
	}
	add := func(ctx context.Context) error {
		balance, err := rdb.Get(ctx, account).Int()
		if err != nil {
			return err
		}
		time.Sleep(time.Millisecond) // the work: without it few updates would be lost
		return rdb.Set(ctx, account, balance+1, 0).Err()
	}
	failures := make([]error, workers)
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() { failures[i] = work(ctx, rdb, i, guard, add) })
	}
	wg.Wait()
	if err := errors.Join(failures...); err != nil {
		return 0, err
	}
	return rdb.Get(ctx, account).Int()
}

func work(
	ctx context.Context, rdb *redis.Client, number int,
	guard func(*holdfast.Client, func(context.Context) error) error, add func(context.Context) error,
) error {
	client, err := holdfast.New(rdb, holdfast.WithHolder(fmt.Sprintf("worker %d", number)))
	if err != nil {
		return err
	}
	for range additions {
		if err := guard(client, add); err != nil {
			return errors.Join(err, client.Close(ctx))
		}
	}
	return client.Close(ctx)
}

// whoHolds shows what those learn who do not get the lock.
func whoHolds(ctx context.Context, rdb *redis.Client) error {
	alice, err := holdfast.New(rdb, holdfast.WithHolder("alice"))
	if err != nil {
		return err
	}
	defer func() { _ = alice.Close(ctx) }() // releases what she holds
	bob, err := holdfast.New(rdb)
	if err != nil {
		return err
	}
	defer func() { _ = bob.Close(ctx) }() // holds nothing

	lease, err := mutex.New(alice, "quickstart:report").Lock(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("\nAlice holds the lock, with fencing token %d.\n", lease.Token())

	report := mutex.New(bob, "quickstart:report")
	_, err = report.TryLock(ctx)
	var held *holdfast.HeldError
	if !errors.As(err, &held) || held.Holder != "alice" {
		return fmt.Errorf("the TryLock of Alice's lock: %w", err)
	}
	fmt.Printf("Bob's TryLock: %v\n", err)

	soon, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	_, err = report.Lock(soon)
	if !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("the Lock past its deadline: %w", err)
	}
	fmt.Printf("Bob's Lock, 200 ms later: %v\n", err)
	return lease.Release(ctx)
}

// loseALease takes a lock away from its holder, as an operator or a Redis that
// forgot would, and shows what the holder sees.
func loseALease(ctx context.Context, rdb *redis.Client) error {
	client, err := holdfast.New(rdb, holdfast.WithTTL(time.Second))
	if err != nil {
		return err
	}
	defer func() { _ = client.Close(ctx) }() // holds nothing any more
	err = mutex.New(client, "quickstart:job").Do(ctx, func(ctx context.Context) error {
		if failed := rdb.Del(ctx, "holdfast:mutex:quickstart:job").Err(); failed != nil {
			return failed
		}
		<-ctx.Done() // the context of the work ends with the lease
		fmt.Printf("\nThe work is told: %v\n", context.Cause(ctx))
		return nil
	})
	if !errors.Is(err, holdfast.ErrLost) {
		return fmt.Errorf("the Do did not report the loss: %w", err)
	}
	fmt.Printf("Do returns:       %v\n", err)
	return nil
}
