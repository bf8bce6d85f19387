/* A program in C, to show that a guest need not be Rust, nor a component: this is a core module of WASI 0.1.
 *
 * It prints its arguments and its environment, a word about standard error, and ends with the code that the variable
 * EXIT_CODE asks for. */
#include <stdio.h>
#include <stdlib.h>

extern char **environ;

/* 0 to 255 as told; 2 for anything else, as shells do for a bad argument. */
static int wanted_code(void)
{
    const char *text = getenv("EXIT_CODE");
    char *end;
    long code;

    if (text == NULL || *text == '\0')
        return 0;
    code = strtol(text, &end, 10);
    if (*end != '\0' || code < 0 || code > 255) {
        fprintf(stderr, "c-hello: EXIT_CODE is no number from 0 to 255: %s\n", text);
        return 2;
    }
    return (int)code;
}

int main(int argc, char **argv)
{
    int code = wanted_code();

    puts("Hello from C");
    for (int i = 0; i < argc; i++)
        printf("argument %d: %s\n", i, argv[i]);
    for (char **variable = environ; *variable != NULL; variable++)
        printf("environment: %s\n", *variable);
    fflush(stdout);
    fprintf(stderr, "c-hello ends with %d\n", code);
    return code;
}
