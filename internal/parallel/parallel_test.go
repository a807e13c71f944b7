package parallel_test

import (
	"errors"
	"testing"

	"pix/internal/parallel"
)

func TestDo(t *testing.T) {
	a, b := errors.New("a"), errors.New("b")
	for _, test := range []struct{ first, second, want error }{
		{nil, nil, nil}, {a, nil, a}, {nil, b, b}, {a, b, a},
	} {
		began := make(chan bool)
		err := parallel.Do(
			func() error { began <- true; return test.first },
			func() error { <-began; return test.second })
		if err != test.want {
			t.Errorf("%v and %v: %v", test.first, test.second, err)
		}
	}
}

func TestDoPanics(t *testing.T) {
	nothing := func() error { return nil }
	panics := func() error { panic("no") }
	for _, f := range []func(){
		func() { parallel.Do(nothing, panics) },
		func() { parallel.Do(panics, nothing) },
	} {
		func() {
			defer func() {
				if recover() != "no" {
					t.Error("no panic")
				}
			}()
			f()
		}()
	}
}
