package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pix/derivation"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A distantStore answers after a round trip.
type distantStore struct{ store.Store }

const roundTrip = 50 * time.Millisecond

func (s distantStore) QueryDerivationOutputMap(ctx context.Context, drv storepath.Path) (map[string]storepath.Path, error) {
	time.Sleep(roundTrip)
	if strings.Contains(string(drv), "missing") {
		return nil, &store.NotFoundError{Path: drv}
	}
	out, err := s.Dir().ParseBase(drv.HashPart() + "-out")
	return map[string]storepath.Path{"out": out}, err
}

// The outputs of 10,000 derivations are queried in a few round trips, and printed in the order of the derivations.
func TestOutputLinesOverLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := distantStore{memstore.New(nil)}
		var built []derivation.DerivedPath
		var want strings.Builder
		for i := range 10000 {
			drv, err := s.Dir().ParseBase(fmt.Sprintf("%032d-x.drv", i))
			if err != nil {
				t.Fatal(err)
			}
			built = append(built, derivation.Built{Drv: derivation.Opaque{Path: drv}, Outputs: derivation.AllOutputs()})
			fmt.Fprintf(&want, "/nix/store/%032d-out\n", i)
		}
		start := time.Now()
		lines, err := outputLines(t.Context(), s, built)
		if err != nil || lines != want.String() {
			t.Errorf("%d bytes, %v", len(lines), err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %v at %v for each round trip", took, roundTrip)
		}
		missing, err := s.Dir().ParseBase(strings.Repeat("0", 32) + "-missing.drv")
		if err != nil {
			t.Fatal(err)
		}
		built[77] = derivation.Built{Drv: derivation.Opaque{Path: missing}, Outputs: derivation.AllOutputs()}
		if _, err := outputLines(t.Context(), s, built); err == nil || !strings.Contains(err.Error(), "missing") {
			t.Errorf("a missing derivation: %v", err)
		}
	})
}
