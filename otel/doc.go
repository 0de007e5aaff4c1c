// Package holdfastotel makes OpenTelemetry metrics and spans of what becomes of
// the locks of a Holdfast client. It is a module of its own, so that
// OpenTelemetry stays out of what others download.
//
//	observer, err := holdfastotel.New()
//	if err != nil {
//		return err
//	}
//	client, err := holdfast.New(rdb, holdfast.WithObserver(observer))
//
// # Metrics
//
//	name                     kind, unit                  attributes
//	holdfast.wait.duration   histogram, s                kind, outcome, handed_over (if acquired)
//	holdfast.hold.duration   histogram, s                kind, end
//	holdfast.lease.count     up-down counter, {lease}    kind
//	holdfast.lease.lost      counter, {lease}            kind, reason
//	holdfast.lease.renewals  counter, {renewal}          kind
//	holdfast.event.dropped   counter, {event}
//
// wait.duration is from the call to its return, of calls that acquired and of
// those that did not: its count is that of the attempts. hold.duration is from the
// acquisition to the release or the loss; a reader that was a writer counts from
// the writer's. lease.count is how many leases are held now in this process: the
// permits of a semaphore are not added up. lease.lost is there, with 0, from the
// first acquisition of a kind on, so that a rate sees the first loss. event.dropped
// counts what the client did not tell since this Observer was too slow, which
// takes an exporter that blocks: the other metrics lack it, and lease.count stays
// off by it until the process ends.
//
// # Spans
//
//	name           from, to                     attributes
//	holdfast.wait  the call, its return         kind, name, weight, outcome; id, token, handed_over if acquired
//	holdfast.hold  the acquisition, its end     kind, name, weight, id, token, end; reason if lost
//
// Both are children of the span in the context that the lock was asked for with,
// else roots. They are made when they are over: what is done under the lock is not
// below the hold but beside it. The hold of a lease that was released is as long
// as the lease lasted, and ends when Redis confirmed the release. An error is
// recorded, and the status is then Error; but for "busy", which is an answer.
//
// # Attributes
//
// They are named as the keys of the log records, after "holdfast.":
//
//	holdfast.kind         mutex, reentrant, rwlock, semaphore, redlock
//	holdfast.name         of the lock; on metrics only WithLockNames
//	holdfast.weight       of the request: permits; 1000000000 for a writer; else 1
//	holdfast.id           of the lease
//	holdfast.token        of the lease, its fencing token
//	holdfast.handed_over  whether who went before made it the holder: it had to wait
//	holdfast.outcome      acquired
//	                      busy       somebody else has it: TryLock, or WithMaxWait is over
//	                      cancelled  the context ended first
//	                      closed     the client was closed
//	                      failed     Redis refused or did not answer, or too few
//	                                 replicas have it, whatever ended the wait then
//	holdfast.end          released
//	                      unconfirmed  released, but Redis did not say so: the lock may
//	                                   stay taken until its TTL is over
//	                      lost
//	holdfast.reason       expired, unreachable, taken, removed: see holdfast.LostReason
//
// Calls that are refused before anything is sent have no event, and so neither
// metric nor span: holdfast.ErrInvalid, a context that has ended, a client that
// is closed.
//
// # Dashboard
//
// grafana/holdfast.json, beside this package, is a dashboard for Grafana 12 and
// later on a Prometheus data source, with the names that the exporters for
// Prometheus and its OTLP receiver give these metrics by default.
package holdfastotel
