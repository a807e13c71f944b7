package contextio_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"pix/internal/contextio"
)

// A reader reads until its context is done, and then fails with the cause.
func TestReader(t *testing.T) {
	cause := errors.New("cause")
	ctx, cancel := context.WithCancelCause(t.Context())
	r := contextio.NewReader(ctx, strings.NewReader("text"))
	if _, err := io.ReadFull(r, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	cancel(cause)
	if n, err := r.Read(make([]byte, 2)); n != 0 || err != cause {
		t.Errorf("%d, %v", n, err)
	}
}
