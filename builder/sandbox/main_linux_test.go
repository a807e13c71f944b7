package sandbox

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	Main()
	if os.Getenv("PIX_TEST_CALLER") != "" {
		os.Exit(caller())
	}
	code := m.Run()
	standard.Close()
	os.Exit(code)
}
