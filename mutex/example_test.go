package mutex_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/embedded"
	"github.com/holdfast-go/holdfast/mutex"
)

func ExampleMutex_Lock() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, stop := embedded.Client(ctx)
	defer stop()

	lease, err := mutex.New(client, "invoice:42").Lock(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(lease.Name(), "is held:", lease.Err() == nil)
	fmt.Println("released:", lease.Release(ctx) == nil)
	fmt.Println(lease.Err())
	// Output:
	// invoice:42 is held: true
	// released: true
	// holdfast: lease released
}

func ExampleMutex_TryLock() {
	ctx := context.Background()
	client, stop := embedded.Client(ctx, holdfast.WithHolder("the nightly job"))
	defer stop()

	report := mutex.New(client, "report")
	lease, err := report.TryLock(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = report.TryLock(ctx)
	var held *holdfast.HeldError
	if errors.As(err, &held) {
		fmt.Println("busy:", held.Holder, "has it")
	}
	if err := lease.Release(ctx); err != nil {
		fmt.Println(err)
	}
	// Output: busy: the nightly job has it
}

func ExampleMutex_Do() {
	ctx := context.Background()
	client, stop := embedded.Client(ctx)
	defer stop()

	err := mutex.New(client, "account").Do(ctx, func(ctx context.Context) error {
		lease, _ := holdfast.FromContext(ctx)
		fmt.Println("a fencing token for the resource:", lease.Token() > 0)
		return ctx.Err() // ctx ends if the lock is lost
	})
	fmt.Println(err)
	// Output:
	// a fencing token for the resource: true
	// <nil>
}

// A wait that ends with its context says what it waited for.
func ExampleMutex_Lock_timeout() {
	ctx := context.Background()
	client, stop := embedded.Client(ctx, holdfast.WithHolder("the nightly job"))
	defer stop()

	report := mutex.New(client, "report")
	lease, err := report.Lock(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	soon, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	_, err = report.Lock(soon)
	var held *holdfast.HeldError
	if errors.Is(err, context.DeadlineExceeded) && errors.As(err, &held) {
		fmt.Println("gave up waiting for", held.Holder)
	}
	fmt.Println(lease.Release(soon)) // works although its context has ended
	// Output:
	// gave up waiting for the nightly job
	// <nil>
}

// Who holds the lock, and who waits for it.
func ExampleMutex_Inspect() {
	ctx := context.Background()
	client, stop := embedded.Client(ctx, holdfast.WithHolder("the nightly job"))
	defer stop()

	report := mutex.New(client, "report")
	lease, err := report.Lock(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	state, err := report.Inspect(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, h := range state.Holders {
		fmt.Println(h.Holder, "holds", state.Name, "under the token of its lease:", h.Token == lease.Token())
	}
	fmt.Println("waiting:", state.WaiterCount)
	fmt.Println(lease.Release(ctx))
	// Output:
	// the nightly job holds report under the token of its lease: true
	// waiting: 0
	// <nil>
}
