package semaphore_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/embedded"
	"github.com/holdfast-go/holdfast/semaphore"
)

func ExampleSemaphore_Do() {
	ctx := context.Background()
	client, stop := embedded.Client(ctx)
	defer stop()

	downloads := semaphore.New(client, "downloads", 5) // five at once, over all services
	err := downloads.Do(ctx, 1, func(context.Context) error {
		fmt.Println("one of at most five")
		return nil
	})
	fmt.Println(err)
	// Output:
	// one of at most five
	// <nil>
}

// All of n permits or none; they are given back together.
func ExampleSemaphore_Acquire() {
	ctx := context.Background()
	client, stop := embedded.Client(ctx)
	defer stop()

	cores := semaphore.New(client, "cores", 8)
	lease, err := cores.Acquire(ctx, 6) // waits, in line, until six are free at once
	if err != nil {
		fmt.Println(err)
		return
	}
	state, err := cores.Inspect(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("in use:", state.Used)
	fmt.Println(lease.Release(ctx))
	_, err = cores.Acquire(ctx, 9)
	fmt.Println(errors.Is(err, holdfast.ErrInvalid), err)
	// Output:
	// in use: 6
	// <nil>
	// true holdfast: invalid: semaphore "cores": n = 9, not between 1 and the limit, 8
}

// Jobs of different weight share one limit.
func ExampleSemaphore_TryAcquire() {
	ctx := context.Background()
	client, stop := embedded.Client(ctx, holdfast.WithHolder("the importer"))
	defer stop()

	memory := semaphore.New(client, "gigabytes", 8)
	large, err := memory.Acquire(ctx, 6)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = memory.TryAcquire(ctx, 3)
	var held *holdfast.HeldError
	if errors.As(err, &held) {
		fmt.Println("no room for 3 more: in use by", held.Holder)
	}
	small, err := memory.TryAcquire(ctx, 2)
	fmt.Println("room for 2:", err == nil)
	fmt.Println(large.Release(ctx), small.Release(ctx))
	// Output:
	// no room for 3 more: in use by the importer
	// room for 2: true
	// <nil> <nil>
}
