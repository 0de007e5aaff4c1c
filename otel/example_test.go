package holdfastotel_test

import (
	"context"
	"fmt"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/embedded"
	"github.com/holdfast-go/holdfast/mutex"
	holdfastotel "github.com/holdfast-go/holdfast/otel"
)

func ExampleNew() {
	ctx := context.Background()
	spans := tracetest.NewInMemoryExporter() // in a program: OTLP, and set globally
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))

	observer, err := holdfastotel.New(holdfastotel.WithTracerProvider(tracers))
	if err != nil {
		fmt.Println(err)
		return
	}
	client, stop := embedded.Client(ctx, holdfast.WithObserver(observer)) // in a program: holdfast.New
	err = mutex.New(client, "invoice:42").Do(ctx, func(context.Context) error { return nil })
	stop() // Close waits for what the Observer is still to be told
	fmt.Println(err)
	for _, s := range spans.GetSpans() {
		fmt.Println(s.Name, s.Attributes[0].Value.AsString(), s.Attributes[1].Value.AsString())
	}
	// Output:
	// <nil>
	// holdfast.wait mutex invoice:42
	// holdfast.hold mutex invoice:42
}
