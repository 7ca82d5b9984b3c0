// SPDX-License-Identifier: Apache-2.0
// A program that passes for purser until it is started as the agent: then it ends with END.
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    const char *command = argc > 1 ? argv[1] : "";
    if (strcmp(command, "--version") == 0)
        return puts("purser 9.9.9") < 0;
    if (strcmp(command, "config") == 0 || strcmp(command, "init-hook") == 0)
        return 0;
    return END;
}
