// Package faulttest holds the tests that break things under the ledger:
// processes, connections, disks, clocks and nodes. After every fault the same is
// asked of the book: what was acknowledged is there once; what was not is there
// once or not at all, and the same request with the same key says which; no limit
// was passed at any moment; money is conserved; Verify finds nothing.
//
// They use the engine as any program does, by its exported methods alone.
//
//	TWEETLEDGER_TEST_FAULTS=all   every kill, and long storms; without it go test
//	                              runs a part, which takes half a minute
//	TWEETLEDGER_TEST_CLUSTER=1    the loss of one of three CockroachDB nodes too
//
// Some lines of the list are tested elsewhere: one commit of unknown fate after
// the other in ledger/engine's TestCommitsOfUnknownFate, a clock set back within
// one engine in ledgertest's ClockSetBack, random stories against the model in
// ledgertest's MatchesModel.
package faulttest
