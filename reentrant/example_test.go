package reentrant_test

import (
	"context"
	"fmt"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/embedded"
	"github.com/holdfast-go/holdfast/reentrant"
)

// A function that locks what it needs can be called by one that holds it
// already: the owner travels in the context.
func ExampleMutex_Do() {
	ctx := context.Background()
	client, stop := embedded.Client(ctx)
	defer stop()

	account := reentrant.New(client, "account:42")
	deposit := func(ctx context.Context, amount int) error {
		return account.Do(ctx, func(context.Context) error {
			fmt.Println("deposit", amount)
			return nil
		})
	}
	err := account.Do(ctx, func(ctx context.Context) error {
		if err := deposit(ctx, 10); err != nil {
			return err
		}
		return deposit(ctx, 20)
	})
	fmt.Println(err)
	// Output:
	// deposit 10
	// deposit 20
	// <nil>
}

// Each Lock has a lease of its own; the lock is free when all are released.
func ExampleMutex_Lock() {
	ctx := context.Background()
	client, stop := embedded.Client(ctx)
	defer stop()

	m := reentrant.New(client, "report")
	outer, err := m.Lock(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	inner, err := m.Lock(outer.Context(ctx))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("one token:", outer.Token() == inner.Token())
	fmt.Println("outer released:", outer.Release(ctx) == nil, "- inner still held:", inner.Err() == nil)
	_, err = m.TryLock(ctx) // a fresh context is another owner
	fmt.Println("somebody else gets it:", err == nil)
	fmt.Println("inner released:", inner.Release(ctx) == nil)
	// Output:
	// one token: true
	// outer released: true - inner still held: true
	// somebody else gets it: false
	// inner released: true
}

// A job that moves between services keeps what it has locked: all who name its
// owner hold the lock together.
func ExampleWithOwner() {
	ctx := context.Background()
	client, stop := embedded.Client(ctx)
	defer stop()

	step := func(name string) *holdfast.Lease {
		lease, err := reentrant.New(client, "order:7").Lock(reentrant.WithOwner(ctx, "job 42"))
		if err != nil {
			fmt.Println(err)
			return nil
		}
		fmt.Println(name, "holds order:7 for job 42")
		return lease
	}
	billing := step("billing")
	shipping := step("shipping") // as another service would
	fmt.Println(billing.Release(ctx), shipping.Release(ctx))
	// Output:
	// billing holds order:7 for job 42
	// shipping holds order:7 for job 42
	// <nil> <nil>
}
