// Package payments is the product's policy between a message and a posting:
// customers and their links, orders and their states, caps, the secret code, the
// inbox that every message goes through and the outbox that every reply leaves
// by. Money itself moves only in ledger/engine, in the same database transaction.
package payments
