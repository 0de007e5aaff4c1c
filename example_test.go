package holdfast_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/embedded"
	"github.com/holdfast-go/holdfast/mutex"
)

// What a program does once, and what it does for each piece of work.
func Example() {
	ctx := context.Background()
	server, err := miniredis.Run() // in place of a Redis
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{
		Addr:                  server.Addr(),
		ContextTimeoutEnabled: true, // so that commands heed deadlines
	})
	defer func() { _ = rdb.Close() }()

	client, err := holdfast.New(rdb, holdfast.WithHolder("billing"))
	if err != nil {
		fmt.Println(err)
		return
	}
	err = mutex.New(client, "invoice:42").Do(ctx, func(context.Context) error {
		fmt.Println("invoice 42 is ours")
		return nil
	})
	fmt.Println(errors.Join(err, client.Close(ctx)))
	// Output:
	// invoice 42 is ours
	// <nil>
}

// The work is told when the lock is lost, and why: here somebody takes it away.
func ExampleLease_Context() {
	ctx := context.Background()
	client, stop := embedded.Client(ctx)
	defer stop()

	leader := mutex.New(client, "leader")
	lease, err := leader.Lock(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	work := lease.Context(ctx)
	if err := leader.ForceRelease(ctx, lease.ID()); err != nil {
		fmt.Println(err)
		return
	}
	<-work.Done()
	var lost *holdfast.LostError // its Reason says how
	if errors.As(context.Cause(work), &lost) {
		fmt.Println("lost:", lost.Name)
	}
	fmt.Println(errors.Is(lease.Err(), holdfast.ErrLost), errors.Is(lease.Release(ctx), holdfast.ErrLost))
	// Output:
	// lost: leader
	// true true
}

// Without renewal a lease is extended by hand: for work that should lose the lock
// when it does not come along.
func ExampleLease_Renew() {
	ctx := context.Background()
	client, stop := embedded.Client(ctx, holdfast.WithTTL(time.Minute), holdfast.WithoutRenewal())
	defer stop()

	lease, err := mutex.New(client, "migration").Lock(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	for batch := range 3 {
		before := lease.Deadline()
		if err := lease.Renew(ctx); err != nil { // ErrLost, or nobody knows: see lease.Deadline
			fmt.Println(err)
			return
		}
		fmt.Println("batch", batch, "has a minute:", lease.Deadline().After(before))
	}
	fmt.Println(lease.Release(ctx))
	// Output:
	// batch 0 has a minute: true
	// batch 1 has a minute: true
	// batch 2 has a minute: true
	// <nil>
}

// A function that is given a context need not be given the lease.
func ExampleFromContext() {
	ctx := context.Background()
	client, stop := embedded.Client(ctx)
	defer stop()

	save := func(ctx context.Context, text string) {
		lease, ok := holdfast.FromContext(ctx)
		fmt.Println(text, "is saved under a lock:", ok && lease.Err() == nil)
	}
	save(ctx, "draft")
	err := mutex.New(client, "document").Do(ctx, func(ctx context.Context) error {
		save(ctx, "document")
		return nil
	})
	fmt.Println(err)
	// Output:
	// draft is saved under a lock: false
	// document is saved under a lock: true
	// <nil>
}

// The wait has a limit of its own; ctx, with its deadline, is for the work. A wait
// of 0 asks once.
func ExampleWithMaxWait() {
	ctx := context.Background()
	client, stop := embedded.Client(ctx, holdfast.WithHolder("the first"))
	defer stop()

	job := mutex.New(client, "job", holdfast.WithMaxWait(500*time.Millisecond))
	lease, err := job.Lock(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	err = job.Do(ctx, func(context.Context) error { return errors.New("the work does not begin") })
	var held *holdfast.HeldError
	if errors.As(err, &held) {
		fmt.Printf("%s is held by %s for some %v more\n", held.Name, held.Holder, held.Remaining.Round(10*time.Second))
	}
	fmt.Println(lease.Release(ctx))
	// Output:
	// job is held by the first for some 30s more
	// <nil>
}

// The lock stays taken for a while after the work, so that another machine, whose
// clock is a little behind, does not do it again.
func ExampleWithMinHold() {
	ctx := context.Background()
	client, stop := embedded.Client(ctx)
	defer stop()

	nightly := mutex.New(client, "nightly", holdfast.WithMaxWait(0), holdfast.WithMinHold(time.Minute))
	run := func() error {
		return nightly.Do(ctx, func(context.Context) error {
			fmt.Println("the nightly job runs")
			return nil
		})
	}
	fmt.Println(run())
	fmt.Println(errors.Is(run(), holdfast.ErrNotAcquired))
	// Output:
	// the nightly job runs
	// <nil>
	// true
}

// An Observer is told what becomes of each lock; it is called by a goroutine of
// its own.
func ExampleWithObserver() {
	ctx := context.Background()
	client, stop := embedded.Client(ctx, holdfast.WithObserver(holdfast.ObserverFunc(
		func(_ context.Context, e holdfast.Event) { fmt.Println(e.Kind, e.Name, e.Type) },
	)))
	err := mutex.New(client, "account").Do(ctx, func(context.Context) error { return nil })
	stop() // when the client is closed, all has been told
	fmt.Println(err)
	// Output:
	// mutex account acquired
	// mutex account released
	// <nil>
}
