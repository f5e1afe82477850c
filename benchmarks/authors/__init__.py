"""ganfix beside the code of [C22] (Choi, Chang, Choi, IJCAI 2022), on the same latents."""
