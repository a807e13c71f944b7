package realise_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"pix/builder/sandbox"
)

// A builder of the tests with real builds is this program. The variable test names the function that it runs.
func TestMain(m *testing.M) {
	if f := builders[os.Getenv("test")]; f != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := f(ctx); err != nil {
			fmt.Println("the builder failed:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	sandbox.Main()
	if text := os.Getenv(victimVariable); text != "" {
		runVictim(text)
	}
	code := m.Run()
	if programDir != "" {
		os.RemoveAll(programDir)
	}
	os.Exit(code)
}
