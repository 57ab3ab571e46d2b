// Package statements issues the statements that charities and businesses receive
// of their donations: numbered without a gap, frozen, each following on the one
// before to the cent, and signed, so that who receives one can prove it.
package statements
