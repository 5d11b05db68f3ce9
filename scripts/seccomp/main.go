// Prints Docker's default seccomp profile, with its origin: src/mount/container/seccomp-profile.json. From the folder of this file:
//
//	go run . > ../../src/mount/container/seccomp-profile.json
package main

import (
	"encoding/json"
	"log"
	"os"
	"runtime/debug"

	"github.com/moby/profiles/seccomp"
)

const module = "github.com/moby/profiles/seccomp"

func main() {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(map[string]any{
		"source":  module + " " + version(),
		"license": "Apache-2.0, Copyright The Moby Authors",
		"profile": seccomp.DefaultProfile(),
	})
	if err != nil {
		log.Fatal(err)
	}
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		log.Fatal("the program does not know what it was built of")
	}
	for _, dependency := range info.Deps {
		if dependency.Path == module {
			return dependency.Version
		}
	}
	log.Fatal("the program was built without ", module)
	return ""
}
