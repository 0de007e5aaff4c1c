package rwlock_test

import (
	"context"
	"fmt"

	"github.com/holdfast-go/holdfast/internal/embedded"
	"github.com/holdfast-go/holdfast/rwlock"
)

func ExampleRWLock_RDo() {
	ctx := context.Background()
	client, stop := embedded.Client(ctx)
	defer stop()

	config := rwlock.New(client, "config")
	version := 0
	err := config.Do(ctx, func(context.Context) error { // alone
		version = 2
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = config.RDo(ctx, func(context.Context) error { // beside other readers
		fmt.Println("version", version)
		return nil
	})
	fmt.Println(err)
	// Output:
	// version 2
	// <nil>
}

func ExampleRWLock_RLock() {
	ctx := context.Background()
	client, stop := embedded.Client(ctx)
	defer stop()

	config := rwlock.New(client, "config")
	first, err := config.RLock(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	second, err := config.RLock(ctx) // beside the first
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = config.TryLock(ctx)
	fmt.Println("a writer beside them:", err == nil)
	fmt.Println(first.Release(ctx), second.Release(ctx))
	// Output:
	// a writer beside them: false
	// <nil> <nil>
}

// A writer that wants to read what it wrote lets other readers in, and no
// writer between.
func ExampleRWLock_Downgrade() {
	ctx := context.Background()
	client, stop := embedded.Client(ctx)
	defer stop()

	config := rwlock.New(client, "config")
	writer, err := config.Lock(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	reader, err := config.Downgrade(ctx, writer)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("the writer's lease:", writer.Err())
	beside, err := config.TryRLock(ctx)
	fmt.Println("another reader:", err == nil)
	_, err = config.TryLock(ctx)
	fmt.Println("another writer:", err == nil)
	fmt.Println(reader.Release(ctx), beside.Release(ctx))
	// Output:
	// the writer's lease: holdfast: lease released
	// another reader: true
	// another writer: false
	// <nil> <nil>
}
