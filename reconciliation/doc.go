// Package reconciliation compares the book with the world outside it and names
// each difference as a break: one line that says what, where, how much, and what
// to do. A job is a pair of sides and the matchers between them; it only reads,
// and finds the same whatever the order in which things arrived. Keep keeps what a
// job found: the run, and each break with its life.
package reconciliation
