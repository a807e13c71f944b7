package sandbox

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	Main()
	switch os.Getenv("PIX_TEST_CALLER") {
	case "1":
		os.Exit(caller())
	case "advice":
		os.Exit(adviser())
	case "mounts":
		os.Exit(mounter())
	case "spare-mounts":
		os.Exit(runSpareTest(mountWithSpare))
	case "spare-loop":
		os.Exit(runSpareTest(loopWithSpares))
	case "spare-limit":
		os.Exit(runSpareTest(limitNamespaces))
	}
	code := m.Run()
	standard.Close()
	os.RemoveAll(programs.dir)
	os.Exit(code)
}
