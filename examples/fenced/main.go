// Fenced shows what a lock alone cannot prevent. A leader is paused for longer than
// its lease, another leads and gives an order, and the first wakes up in the middle
// of giving its own. With a plain write the old order replaces the new one; with the
// fencing token the resource refuses it.
//
//	go run ./examples/fenced
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/examples/internal/server"
	"github.com/holdfast-go/holdfast/guard"
	"github.com/holdfast-go/holdfast/mutex"
)

const (
	leadership = "fenced:leader"
	orders     = "fenced:{orders}"       // what the leader tells everybody to do
	fence      = "fenced:{orders}:fence" // the highest token that gave one
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "fenced:", err)
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

	fmt.Println("\nA plain write:")
	late, err := takeOver(ctx, rdb, plain)
	if err != nil {
		return err
	}
	if late != nil {
		return fmt.Errorf("a plain write was refused: %w", late)
	}
	if err = expect(ctx, rdb, "retreat"); err != nil {
		return err
	}

	fmt.Println("\nA write with the fencing token:")
	late, err = takeOver(ctx, rdb, fenced)
	if err != nil {
		return err
	}
	if !errors.Is(late, guard.ErrStale) {
		return fmt.Errorf("the late order was not refused: %w", late)
	}
	return errors.Join(expect(ctx, rdb, "advance"), rdb.Del(ctx, orders, fence).Err())
}

// order is how a leader tells what to do.
type order func(ctx context.Context, rdb *redis.Client, lease *holdfast.Lease, text string) error

// plain only writes. Anna looks at her lease before, as she should; but the pause
// comes between the look and the write.
func plain(ctx context.Context, rdb *redis.Client, _ *holdfast.Lease, text string) error {
	return rdb.Set(ctx, orders, text, time.Hour).Err()
}

// fenced lets the resource look, in the same step as the write.
func fenced(ctx context.Context, rdb *redis.Client, lease *holdfast.Lease, text string) error {
	_, err := guard.New(rdb, fence).Do(ctx, lease.Token(),
		guard.Cmd{"SET", guard.Key(orders), text, "EX", 3600})
	return err
}

// takeOver lets Anna lead until she is paused, and Bert after her. late is what
// became of the order that Anna gave when she woke up.
func takeOver(ctx context.Context, rdb *redis.Client, give order) (late, err error) {
	anna, err := lead(ctx, rdb, "Anna")
	if err != nil {
		return nil, err
	}
	defer anna.resign(ctx)
	if err = anna.lease.Err(); err != nil { // the look before the write
		return nil, err
	}

	// Anna is paused here. Her TTL runs out; or, since that takes its time, somebody
	// takes the lock of a leader away who does not answer.
	if err = rdb.Del(ctx, "holdfast:mutex:"+leadership).Err(); err != nil {
		return nil, err
	}
	bert, err := lead(ctx, rdb, "Bert")
	if err != nil {
		return nil, err
	}
	defer bert.resign(ctx)
	if err = give(ctx, rdb, bert.lease, "advance"); err != nil {
		return nil, err
	}
	fmt.Println("  Bert orders: advance")

	// Anna wakes up after her look.
	late = give(ctx, rdb, anna.lease, "retreat")
	fmt.Println("  Anna orders: retreat")
	if late != nil {
		fmt.Println("  refused:    ", late)
	}
	return late, nil
}

// leader is a process that leads.
type leader struct {
	client *holdfast.Client
	lease  *holdfast.Lease
}

func lead(ctx context.Context, rdb *redis.Client, name string) (*leader, error) {
	client, err := holdfast.New(rdb, holdfast.WithHolder(name))
	if err != nil {
		return nil, err
	}
	lease, err := mutex.New(client, leadership).Lock(ctx)
	if err != nil {
		return nil, errors.Join(err, client.Close(ctx))
	}
	fmt.Printf("  %s leads, with token %d\n", name, lease.Token())
	return &leader{client, lease}, nil
}

// resign gives the leadership back, if it is still there.
func (l *leader) resign(ctx context.Context) { _ = l.client.Close(ctx) }

func expect(ctx context.Context, rdb *redis.Client, want string) error {
	got, err := rdb.Get(ctx, orders).Result()
	if err != nil {
		return err
	}
	fmt.Println("  All do:     ", got)
	if got != want {
		return fmt.Errorf("all do %q, not %q", got, want)
	}
	return nil
}
