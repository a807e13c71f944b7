package daemon

import "pix/store"

// everything is all that a store can do. What a daemon cannot do, because of its version or
// because it does not trust us, is an error of the method.
type everything interface {
	store.Store
	store.AllPathsQuerier
	store.InfosQuerier
	store.ReferrerQuerier
	store.DeriverQuerier
	store.HashPartQuerier
	store.OutputQuerier
	store.SubstituteQuerier
	store.MissingQuerier
	store.RealisationStore
	store.TextAdder
	store.Adder
	store.NARAdder
	store.MultipleAdder
	store.NARReader
	store.ManyNARReader
	store.Signer
	store.LogAdder
	store.Builder
	store.ResultBuilder
	store.DerivationBuilder
	store.Ensurer
	store.TempRooter
	store.Rooter
	store.Collector
	store.Optimiser
	store.Verifier
}

var (
	_ everything = (*Conn)(nil)
	_ everything = (*Pool)(nil)

	_ store.ClosureOpener = (*Pool)(nil)
	_ everything          = (*Session)(nil)
)
