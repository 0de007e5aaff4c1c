// Package faultproxy is a TCP proxy that speaks the Redis protocol, for tests of
// what a client does when the network or the server fails it. It runs in the
// test's process.
//
// A [Rule] picks requests by a [Matcher] and does something to them: hold the
// request or the reply, lose the reply, cut the connection, answer an error, send
// the request a second time. The switches of [Proxy] act on the network as a whole
// and on pub/sub messages.
//
// # How it works
//
// Each connection has three goroutines. One reads requests from the client, applies
// the rules and passes them on; one reads whole replies from the server, gives each
// to the request that is next in order, and applies its rules; one writes to the
// client. Pub/sub messages are not replies and go by the switches for messages;
// confirmations of SUBSCRIBE and its like are replies, one for each channel, and a
// rule acts on the first of them.
//
// A connection keeps its order, as TCP does: behind what is held, everything in the
// same direction waits, but messages held by [Proxy.HoldPushes] let replies by.
//
// When a client closes its connection, requests that it has sent before still
// reach the server, even if they are held at that time and released later. So a
// request can arrive after its sender has given up, as in a real network.
//
// Requests must be arrays of bulk strings, and every one must get a reply: CLIENT
// REPLY and replication are not supported.
package faultproxy
