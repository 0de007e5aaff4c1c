package redlock_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/embedded"
	"github.com/holdfast-go/holdfast/redlock"
)

func ExampleNew() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var clients []*holdfast.Client // one for each server
	for range 3 {
		client, stop := embedded.Client(ctx, holdfast.WithHolder("the nightly job"))
		defer stop()
		clients = append(clients, client)
	}

	report := redlock.New(clients, "report")
	err := report.Do(ctx, func(context.Context) error { // its argument ends if the lock is lost
		_, err := report.TryLock(ctx)
		var held *holdfast.HeldError
		if errors.As(err, &held) {
			fmt.Println("busy:", held.Holder, "has it")
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// busy: the nightly job has it
	// <nil>
}
